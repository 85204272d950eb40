-- The flights that were scheduled to leave in the interval, with what was predicted for them.
SELECT
    sample_id,
    scheduled_departure,
    carrier, origin, dest, distance, hour, weekday, dep_delay, temp, wind_speed, precip, visib,
    predicted_arr_delay
FROM flight_predictions
WHERE scheduled_departure >= :start AND scheduled_departure < :end
