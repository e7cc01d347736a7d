-- purpose: let every lane begin again where the slot begins.
-- index: lane_pkey, position_pkey.
SELECT eventferry.forget_tail()
