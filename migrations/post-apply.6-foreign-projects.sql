-- What a foreign writer may say about projects and their files: whose they are is not for it to say.

CREATE OR REPLACE FUNCTION public.admit_project()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _me record;
BEGIN
    SELECT a.known, a.user_id INTO _me FROM public.asking_user() a;
    IF _me.known AND NEW.user_id IS DISTINCT FROM _me.user_id THEN
        RAISE EXCEPTION 'a project''s user_id must be your own' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION public.admit_project_file()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _me record;
BEGIN
    SELECT a.known, a.user_id INTO _me FROM public.asking_user() a;
    IF _me.known
        AND NOT EXISTS (
            SELECT 1 FROM public.projects p WHERE p.id = NEW.project_id AND p.user_id = _me.user_id
        )
    THEN
        RAISE EXCEPTION 'you have no project %', NEW.project_id USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_admit_inserted
BEFORE INSERT ON public.projects
FOR EACH ROW
WHEN (row_security_active('public.projects'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.admit_project();

CREATE OR REPLACE TRIGGER wastewise_admit_updated
BEFORE UPDATE ON public.projects
FOR EACH ROW
WHEN (
    (OLD.id, OLD.user_id) IS DISTINCT FROM (NEW.id, NEW.user_id)
    AND row_security_active('public.projects'::regclass)
    AND current_user <> 'service_role'
)
EXECUTE FUNCTION public.refuse_foreign_write();

CREATE OR REPLACE TRIGGER wastewise_admit_truncate
BEFORE TRUNCATE ON public.projects
FOR EACH STATEMENT
WHEN (row_security_active('public.projects'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.refuse_foreign_write();

CREATE OR REPLACE TRIGGER wastewise_admit_inserted
BEFORE INSERT ON public.project_files
FOR EACH ROW
WHEN (row_security_active('public.project_files'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.admit_project_file();

CREATE OR REPLACE TRIGGER wastewise_admit_updated
BEFORE UPDATE ON public.project_files
FOR EACH ROW
WHEN (
    (OLD.id, OLD.project_id) IS DISTINCT FROM (NEW.id, NEW.project_id)
    AND row_security_active('public.project_files'::regclass)
    AND current_user <> 'service_role'
)
EXECUTE FUNCTION public.refuse_foreign_write();

CREATE OR REPLACE TRIGGER wastewise_admit_truncate
BEFORE TRUNCATE ON public.project_files
FOR EACH STATEMENT
WHEN (row_security_active('public.project_files'::regclass) AND current_user <> 'service_role')
EXECUTE FUNCTION public.refuse_foreign_write();
