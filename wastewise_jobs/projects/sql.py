"""The statements of the project store, as constants: a test prepares every one of them."""

_PROJECT = """
    id, user_id, property_name, units, city, state, property_type, equipment_type, containers,
    container_yards::double precision, pickups_per_week::double precision,
    coalesce(status, 'draft') AS status, coalesce(progress, 0)::integer AS progress,
    CASE
        WHEN total_savings::numeric BETWEEN -1e15 AND 1e15 THEN total_savings::double precision
    END AS total_savings,
    left(error_message, 10000) AS error_message,
    public.readable_time(created_at) AS created_at, public.readable_time(updated_at) AS updated_at
"""

CREATE = (
    """
INSERT INTO public.projects (
    user_id, property_name, units, city, state, property_type, equipment_type, containers,
    container_yards, pickups_per_week
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::double precision, $10::double precision)
RETURNING"""
    + _PROJECT
)

GET = (
    "SELECT"
    + _PROJECT
    + """
FROM public.projects
WHERE id = $1
  AND ($2::uuid IS NULL OR user_id = $2)
"""
)

# A row whose time no reader can hold says itself what its time is, as in the list of jobs.
_PAGE = """
  AND ($2::uuid IS NULL OR (created_at, id) < (
      coalesce($1::timestamptz, (
          SELECT b.created_at
          FROM public.projects b
          WHERE b.id = $2
            AND public.readable_time(b.created_at) IS NULL
      )),
      $2
  ))
ORDER BY projects.created_at DESC, projects.id DESC
LIMIT $3
"""

# Two statements, because one with an optional user could not count on the user's index.
LIST_OF_USER = "SELECT" + _PROJECT + "FROM public.projects WHERE user_id = $4" + _PAGE
LIST_ALL = "SELECT" + _PROJECT + "FROM public.projects WHERE true" + _PAGE

OWNERS = "SELECT id, user_id FROM public.projects WHERE id = ANY ($1::uuid[])"

EXISTS = "SELECT id FROM public.projects WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2)"

LOCK_JOBS = """
SELECT j.id
FROM public.analysis_jobs j
JOIN public.projects p ON p.id = j.project_id
WHERE j.project_id = $1
  AND ($2::uuid IS NULL OR p.user_id = $2)
ORDER BY j.id
FOR UPDATE OF j
"""

LOCK = EXISTS + " FOR UPDATE"

# Leaves the key alone, so that jobs of the project can be created meanwhile.
LOCK_FOR_FILES = EXISTS + " FOR NO KEY UPDATE"

# Those of somebody else, whoever let them in, keep nobody from deleting a project.
HAS_UNFINISHED_JOBS = """
SELECT EXISTS (
    SELECT 1
    FROM public.analysis_jobs j
    JOIN public.projects p ON p.id = j.project_id
    WHERE j.project_id = $1
      AND j.status IN ('pending', 'processing')
      AND (j.user_id IS NULL OR j.user_id = p.user_id)
)
"""

DELETE = "DELETE FROM public.projects WHERE id = $1"

REPLACE_FILE = """
UPDATE public.project_files
SET file_type = $3,
    file_size = $4,
    mime_type = $5,
    storage_path = NULL,
    processing_status = NULL,
    processing_error = NULL,
    uploaded_at = now()
WHERE id = (
    SELECT f.id
    FROM public.project_files f
    LEFT JOIN public.project_file_contents c ON c.file_id = f.id
    WHERE f.project_id = $1
      AND f.file_name = $2
    ORDER BY c.file_id IS NULL, f.uploaded_at DESC
    LIMIT 1
)
RETURNING id, project_id, file_name, file_type, file_size, mime_type, uploaded_at
"""

# What the content of that name takes now.
OWNER_AND_SIZE = """
SELECT
    p.user_id,
    coalesce((
        SELECT octet_length(c.content)
        FROM public.project_file_contents c
        WHERE c.project_id = p.id
          AND c.file_name = $2
    ), 0) AS size
FROM public.projects p
WHERE p.id = $1
"""

COUNT_FILES = "SELECT count(*) FROM public.project_files WHERE project_id = $1"

INSERT_FILE = """
INSERT INTO public.project_files (project_id, file_name, file_type, file_size, mime_type)
VALUES ($1, $2, $3, $4, $5)
RETURNING id, project_id, file_name, file_type, file_size, mime_type, uploaded_at
"""

PUT_CONTENT = """
INSERT INTO public.project_file_contents (file_id, project_id, file_name, content)
VALUES ($1, $2, $3, $4)
ON CONFLICT (file_id) DO UPDATE
SET content = EXCLUDED.content
"""

LIST_FILES = """
SELECT
    id, project_id, file_name, file_type, file_size, mime_type,
    public.readable_time(uploaded_at) AS uploaded_at
FROM public.project_files f
WHERE project_id = $1
ORDER BY file_name, f.uploaded_at, id
LIMIT 1000
"""

_STORED = """
SELECT
    c.file_id, f.mime_type, octet_length(c.content) AS size, c.xmin::text AS version,
    substring(c.content FROM 1 FOR $4) AS head
FROM public.project_files f
JOIN public.project_file_contents c ON c.file_id = f.id
JOIN public.projects p ON p.id = f.project_id
"""

OPEN_FILE = (
    _STORED
    + """
WHERE f.project_id = $1
  AND f.file_name = $2
  AND ($3::uuid IS NULL OR p.user_id = $3)
"""
)

# Nothing where the content was replaced or deleted since it was opened.
READ_FILE = """
SELECT substring(c.content FROM $3 FOR $4)
FROM public.project_file_contents c
WHERE c.file_id = $1
  AND c.xmin::text = $2
"""

DELETE_FILE = (
    "DELETE FROM public.project_files WHERE project_id = $1 AND file_name = $2 RETURNING id"
)
