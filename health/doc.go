// Package health is the ground floor of Foretier: states, probes, outlier
// decisions, and the two forms that every part of a tier speaks, a user's own
// parts too: [Report], how it is, and [Decision], why it chose.
//
// It judges and never acts: the balancer runs the probes and takes backends
// out, the status page shows what is reported.
package health
