-- purpose: hear the doorbell on this session, and one ring to see whether it is heard. Says whose session it is.
LISTEN eventferry;
LISTEN eventferry_probe;
SELECT pg_backend_pid();
