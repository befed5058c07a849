-- What any row may hold, whoever writes it. What nobody can mean is brought within range, and texts
-- that appear in lists are cut, so that no row costs anybody else anything.

-- bounded_time: a moment that every reader's calendar has; infinity is none.
CREATE OR REPLACE FUNCTION public.bounded_time(_time timestamptz)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _time < '1970-01-01 00:00:00+00' THEN '1970-01-01 00:00:00+00'
        WHEN _time > '2999-12-31 00:00:00+00' THEN '2999-12-31 00:00:00+00'
        ELSE _time
    END
$$;

-- bounded_number: within 0 and _most; what is no number counts as nothing.
CREATE OR REPLACE FUNCTION public.bounded_number(_number numeric, _most numeric)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _number IS NULL OR _number = 'NaN' OR _number < 0 THEN 0
        WHEN _number > _most THEN _most
        ELSE round(_number, 8)
    END
$$;

CREATE OR REPLACE FUNCTION public.bound_project()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    NEW.property_name := left(NEW.property_name, 200);
    NEW.city := left(NEW.city, 100);
    NEW.state := left(NEW.state, 50);
    NEW.property_type := left(NEW.property_type, 100);
    NEW.equipment_type := left(NEW.equipment_type, 100);
    NEW.error_message := left(NEW.error_message, 2000);
    NEW.progress := public.bounded_number(NEW.progress::numeric, 100::numeric);
    NEW.total_savings := CASE
        WHEN NEW.total_savings BETWEEN -1e12 AND 1e12 THEN round(NEW.total_savings::numeric, 4)
    END;
    NEW.analysis_period_months := CASE
        WHEN NEW.analysis_period_months BETWEEN 0 AND 1200
        THEN round(NEW.analysis_period_months::numeric, 4)
    END;
    NEW.created_at := public.bounded_time(NEW.created_at);
    NEW.updated_at := public.bounded_time(NEW.updated_at);
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION public.bound_project_file()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
BEGIN
    NEW.file_name := left(NEW.file_name, 255);
    NEW.file_size := CASE WHEN NEW.file_size BETWEEN 0 AND 1e12 THEN NEW.file_size END;
    NEW.mime_type := left(NEW.mime_type, 255);
    NEW.storage_path := left(NEW.storage_path, 1024);
    NEW.processing_status := left(NEW.processing_status, 100);
    NEW.processing_error := left(NEW.processing_error, 2000);
    NEW.uploaded_at := public.bounded_time(NEW.uploaded_at);
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_bound
BEFORE INSERT OR UPDATE ON public.projects
FOR EACH ROW
EXECUTE FUNCTION public.bound_project();

CREATE OR REPLACE TRIGGER wastewise_bound
BEFORE INSERT OR UPDATE ON public.project_files
FOR EACH ROW
EXECUTE FUNCTION public.bound_project_file();
