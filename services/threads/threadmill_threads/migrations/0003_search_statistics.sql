-- How many threads a filter of a search matches is estimated from a sample of documents. Of the default hundred, one in
-- three samples holds none of what one thread in a hundred has; the planner then fetches and sorts all of these instead
-- of reading the newest until the page is full.
ALTER INDEX threads.thread_metadata ALTER COLUMN 1 SET STATISTICS 400;
ALTER INDEX threads.thread_values_document ALTER COLUMN 1 SET STATISTICS 400;
