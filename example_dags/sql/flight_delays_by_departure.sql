-- The delays of the flights that were scheduled to leave in the interval, as far as they are known.
SELECT sample_id, arr_delay
FROM flight_predictions JOIN flight_arrivals USING (sample_id)
WHERE scheduled_departure >= :start AND scheduled_departure < :end
