-- purpose: get up from the doorbell, and tell those who sleep beside.
SELECT eventferry.get_up()
