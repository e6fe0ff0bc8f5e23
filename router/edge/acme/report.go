package acme

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/foretier/foretier/health"
)

// Report implements [health.Reporter]. A host without a certificate, or whose
// certificate should have been renewed long since, degrades.
func (m *Manager) Report() health.Report {
	out := health.Report{Kind: "acme", Name: "acme", State: health.Up}
	now := time.Now()
	missing, least := 0, time.Duration(math.MaxInt64)
	var why []string
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range m.opts.Hosts {
		end, life := m.served(name)
		left := max(end.Sub(now), 0)
		if end.IsZero() {
			missing++
		}
		least = min(least, left)
		if left >= life/6 && life > 0 {
			continue
		}
		out.State = health.Degraded
		text := "no certificate yet for " + name
		if life > 0 {
			text = fmt.Sprintf("the certificate for %s ends on %s", name, end.Format(time.DateTime))
		}
		if err := m.causes[name]; err != nil {
			text += ": " + err.Error()
		}
		why = append(why, text)
	}
	out.Why = strings.Join(why, "; ")
	out.Metrics = []health.Metric{
		health.Level("hosts", "Hosts for which certificates are issued.", "", float64(len(m.hosts))),
		health.Level("hosts_without", "Hosts for which there is no certificate.", "", float64(missing)),
		health.Level("certificate_left_seconds", "Certificate time that is left of the one that ends first.", "seconds", least.Seconds()),
		health.Count("certificates_issued_total", "Certificates issued to this gateway.", m.issued),
		health.Count("certificates_failed_total", "Certificates that were asked for in vain.", m.failed),
	}
	return out
}
