package queue_test

import "time"

var start = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
