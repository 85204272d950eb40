-- The flights that arrived in the interval, with the delay that is known since then.
SELECT sample_id, arr_delay
FROM flight_arrivals
WHERE arrived_at >= :start AND arrived_at < :end
