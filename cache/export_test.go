package cache

// Blind makes the cache forget what it knows of invalidations when it asks whether one
// of them has overtaken a fetch.
func (c *Cache) Blind() { c.log.blind = true }
