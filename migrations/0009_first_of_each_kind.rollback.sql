DROP FUNCTION IF EXISTS queued_kinds();
