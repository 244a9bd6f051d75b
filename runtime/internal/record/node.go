package record

import (
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/request"
)

// NodeID implements [hostcall.Host].
func (h *Host) NodeID(room uint32) (written []byte, code int32) {
	return h.bytes(eventlog.NodeID, request.Size(room).Append(nil), func() ([]byte, int32) { return h.world.Live.NodeID(room) })
}

// PeerCount implements [hostcall.Host].
func (h *Host) PeerCount() int32 {
	return int32(h.number(eventlog.PeerCount, func() int64 { return int64(h.world.Live.PeerCount()) }))
}

// PeerOffer implements [hostcall.Host].
func (h *Host) PeerOffer(index, room uint32) (written []byte, code int32) {
	return h.bytes(eventlog.PeerOffer, request.Item{Index: index, Room: room}.Append(nil),
		func() ([]byte, int32) { return h.world.Live.PeerOffer(index, room) })
}

// Migrate implements [hostcall.Host]. A replay moves nothing. In a life, the wish of a tick that
// is lived again counts like that of one that is lived.
func (h *Host) Migrate(did string) int32 {
	_, code := h.bytes(eventlog.Migrate, []byte(did), func() ([]byte, int32) { return nil, h.world.Live.Migrate(did) })
	if code == 0 && h.world != nil && h.world.Wished != nil {
		h.world.Wished(did)
	}
	return code
}

// MigrateStatus implements [hostcall.Host].
func (h *Host) MigrateStatus() int32 {
	return int32(h.number(eventlog.MigrateStatus, func() int64 { return int64(h.world.Live.MigrateStatus()) }))
}

// DrainDeadline implements [hostcall.Host].
func (h *Host) DrainDeadline() int64 {
	return h.number(eventlog.DrainDeadline, func() int64 { return h.world.Live.DrainDeadline() })
}

// bytes observes what is written into the agent's buffer.
func (h *Host) bytes(kind eventlog.Kind, asked []byte, live func() ([]byte, int32)) (written []byte, code int32) {
	if result, ret, ok := h.given(kind, asked); ok {
		return result, int32(ret)
	}
	written, code = live()
	h.observed(eventlog.Record{Kind: kind, Request: eventlog.Bytes(asked), Return: int64(code), Result: eventlog.Bytes(slices.Clone(written))})
	return written, code
}
