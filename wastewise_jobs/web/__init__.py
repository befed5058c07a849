"""The HTTP API: everything that comes from outside is checked here, and nowhere else.

    socket ─ server ─▶ middleware ─▶ route ─ authenticate, limit, read ─▶ handler ─▶ stores
             deadlines   id, errors,   one table      Call(path, query,    web/api/*
                         headers                       body), all checked

Each resource in `api` declares its routes and `table` lists them all; the router, the checks before
a handler and the OpenAPI document are made from them. A handler's annotation `Call[path, query,
body]` says which models its request is read into, so what is documented is what validates. Without
a line that says PUBLIC a route needs a credential.

The user is whom the credential names, and every store method takes that user: what belongs to
somebody else is answered exactly like what does not exist. Refusals are RFC 9457 problems with a
stable code (`problems`). What a client sends never causes a 5xx; a database that is away is a 503
with Retry-After.

New jobs are gathered and inserted together (`batcher`); streams and long polls share one look at
the database per interval (`watch`).
"""
