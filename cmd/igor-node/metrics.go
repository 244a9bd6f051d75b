package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"igor.dev/node"
)

// figures says how a node is, beside what package monitor says of its agents. docs/node.md
// describes it.
type figures struct {
	node  *node.Node
	books *books // nil = the node keeps no ledger
	stood prometheus.Histogram
}

func newFigures(n *node.Node, b *books) *figures {
	return &figures{n, b, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "igor_node_standstill_seconds", Help: "Time for which agents stood still that were handed over.",
		Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})}
}

var (
	nodeInfo     = metric("igor_node_info", "This node; always 1.", "did")
	nodeMoves    = metric("igor_node_moves_total", "Agents that were handed over, away or here.", "way")
	nodeRefused  = metric("igor_node_moves_refused_total", "Moves that came to nothing, by the reason; failed where there is none.", "reason")
	nodeMoving   = metric("igor_node_moving", "Agents that are being handed over, away or here.", "way")
	nodeDraining = metric("igor_node_draining", "1 if the node drains, else 0.")
	nodeRentDue  = metric("igor_node_rent_due_agents", "Agents that stand still until their rent is paid.")
	nodeRents    = metric("igor_node_rent_payments_total", "Payments of rent for which this process gave a receipt.")
	nodeRented   = metric("igor_node_rent_microcents_total", "What was paid by them.")
	peerContacts = metric("igor_node_peer_contacts_total", "Attempts to reach a peer.", "peer", "outcome")
	peerSeen     = metric("igor_node_peer_seen_timestamp_seconds", "Unix time at which a peer was last reached.", "peer")
	peerLatency  = metric("igor_node_peer_latency_seconds", "Time that a peer's newest offer took, from the question on.", "peer")
)

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (f *figures) Describe(c chan<- *prometheus.Desc) {
	f.stood.Describe(c)
	for _, d := range []*prometheus.Desc{nodeInfo, nodeMoves, nodeRefused, nodeMoving, nodeDraining, nodeRentDue, nodeRents, nodeRented, peerContacts, peerSeen, peerLatency} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (f *figures) Collect(c chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	now := f.node.Figures()
	send(nodeInfo, prometheus.GaugeValue, 1, f.node.Key().DID())
	send(nodeMoves, prometheus.CounterValue, float64(now.Away), "away")
	send(nodeMoves, prometheus.CounterValue, float64(now.Here), "here")
	for reason, times := range now.Refused {
		send(nodeRefused, prometheus.CounterValue, float64(times), reason)
	}
	send(nodeMoving, prometheus.GaugeValue, float64(now.Moving), "away")
	send(nodeMoving, prometheus.GaugeValue, float64(now.Taking), "here")
	draining := 0.0
	if now.Draining {
		draining = 1
	}
	send(nodeDraining, prometheus.GaugeValue, draining)
	send(nodeRentDue, prometheus.GaugeValue, float64(now.RentDue))
	payments, microcents := f.books.paid()
	send(nodeRents, prometheus.CounterValue, float64(payments))
	send(nodeRented, prometheus.CounterValue, float64(microcents))
	for _, p := range now.Peers {
		did := p.Node.DID()
		send(peerContacts, prometheus.CounterValue, float64(p.Successes), did, "good")
		send(peerContacts, prometheus.CounterValue, float64(p.Failures), did, "failed")
		if !p.Seen.IsZero() {
			send(peerSeen, prometheus.GaugeValue, float64(p.Seen.UnixMicro())/1e6, did)
			send(peerLatency, prometheus.GaugeValue, p.Latency.Seconds(), did)
		}
	}
	for _, d := range now.Stood {
		f.stood.Observe(d.Seconds())
	}
	f.stood.Collect(c)
}
