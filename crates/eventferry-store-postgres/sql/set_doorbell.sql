-- purpose: hang the doorbell, or take it down.
-- $1 whether it is to hang.
SELECT eventferry.set_doorbell($1)
