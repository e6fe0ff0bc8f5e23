package health

// What a backend may be beside others, for [Result.Role].
const (
	// RolePrimary takes writes: of several, a pool uses one and fences the
	// rest.
	RolePrimary = "primary"
	// RoleReplica follows a primary and takes no writes.
	RoleReplica = "replica"
	// RolePeer could take writes beside others of its kind, as a node of a
	// Galera cluster. A pool writes to one of them as long as it is well.
	RolePeer = "peer"
)
