package edge

// Status returns the status of the response that has begun, or 0: a router asks it what
// has become of a request once it was served.
func (ex *exchange) Status() int { return ex.status }
