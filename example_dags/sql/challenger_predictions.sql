-- The flights that were scheduled to leave in the interval and left; predicted to arrive as late as that.
SELECT
    sample_id,
    scheduled_departure,
    carrier, origin, dest, distance, hour, weekday, dep_delay, temp, wind_speed, precip, visib,
    dep_delay AS predicted_arr_delay
FROM flight_predictions
WHERE scheduled_departure >= :start AND scheduled_departure < :end AND dep_delay IS NOT NULL
