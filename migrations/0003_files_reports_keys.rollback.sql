DROP TABLE IF EXISTS api_keys;
DROP TABLE IF EXISTS job_reports;
DROP TABLE IF EXISTS job_rows;
DROP TABLE IF EXISTS project_file_contents;

-- The files of an adopted database were there before us.
DO $$
BEGIN
    IF NOT (SELECT s.adopted FROM schema_info s) THEN
        DROP TABLE IF EXISTS project_files;
    ELSE
        DROP INDEX IF EXISTS project_files_by_project;
        ALTER TABLE IF EXISTS project_files DROP CONSTRAINT IF EXISTS project_files_file_type_check;
    END IF;
END
$$;
