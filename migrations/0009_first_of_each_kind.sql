-- queued_kinds says where the first due job of each kind is: a function's columns cannot be added to.

DROP FUNCTION IF EXISTS queued_kinds();
