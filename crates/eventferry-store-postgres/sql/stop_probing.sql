-- purpose: hear rings, and no more probes.
UNLISTEN eventferry_probe
