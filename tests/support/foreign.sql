-- What a Supabase project adds around the tables of adopted.sql: everything granted to everybody who
-- logs in, and policies that say whose rows they are.
GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role;
GRANT USAGE ON SCHEMA public, auth TO anon, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

ALTER TABLE project_files ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_files ON project_files TO authenticated USING (
    EXISTS (SELECT 1 FROM projects p WHERE p.id = project_id AND p.user_id = auth.uid())
);
CREATE POLICY service_projects ON projects TO service_role USING (true);
CREATE POLICY service_files ON project_files TO service_role USING (true);
CREATE POLICY service_jobs ON analysis_jobs TO service_role USING (true);

-- One of their own, who says nothing of whose rows it lets through.
CREATE TABLE notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text);
CREATE FUNCTION follow_up(_type text) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO public.analysis_jobs (user_id, project_id, job_type)
    VALUES ('11111111-1111-1111-1111-111111111111', 'aaaaaaaa-0000-0000-0000-000000000001', _type)
    RETURNING id
$$;
