package testbed

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxPacket is what one read of a TUN device may give: a header of 10 bytes
	// and 64 KiB, since the kernel leaves what it sends in large pieces whole.
	maxPacket = 10 + 64*1024
	// lineBytes and linePackets bound what is on its way in one direction: at
	// 25 ms, 640 MB/s. What is more waits in the device, which drops beyond that.
	lineBytes   = 16 << 20
	linePackets = 1 << 14
)

// delayLine passes packets between two devices, each so long after it came.
type delayLine struct {
	ends [2]io.ReadWriteCloser
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

func newDelayLine(a, b io.ReadWriteCloser, delay time.Duration) *delayLine {
	l := &delayLine{ends: [2]io.ReadWriteCloser{a, b}, done: make(chan struct{})}
	for i := range l.ends {
		d := &direction{from: l.ends[i], to: l.ends[1-i], delay: delay, done: l.done,
			buf: make([]byte, lineBytes), queue: make(chan packet, linePackets), room: make(chan struct{}, 1)}
		l.wg.Go(d.read)
		l.wg.Go(d.write)
	}
	return l
}

// Close drops what is on its way, closes the devices and waits.
func (l *delayLine) Close() {
	l.once.Do(func() {
		close(l.done)
		l.ends[0].Close()
		l.ends[1].Close()
	})
	l.wg.Wait()
}

// direction is one way of a delayLine. Packets lie in buf, a ring, each in one
// piece; nothing is allocated for one. The delay is the same for all, so they
// leave in the order in which they came.
type direction struct {
	from  io.Reader
	to    io.Writer
	delay time.Duration
	done  chan struct{}
	buf   []byte
	queue chan packet
	freed atomic.Int64  // bytes of buf that were used and are free again, ever
	room  chan struct{} // says that freed has grown
}

type packet struct {
	due  time.Time
	data []byte
	end  int64 // freed, once this one has left
}

func (d *direction) read() {
	var used int64 // bytes of buf that were used, ever
	for {
		at := int(used % int64(len(d.buf)))
		if at+maxPacket > len(d.buf) { // one piece: the rest of the ring stays empty
			used += int64(len(d.buf) - at)
			at = 0
		}
		if !d.wait(used) {
			return
		}
		n, err := d.from.Read(d.buf[at : at+maxPacket])
		if err != nil {
			return
		}
		used += int64(n)
		select {
		case d.queue <- packet{time.Now().Add(d.delay), d.buf[at : at+n], used}:
		case <-d.done:
			return
		}
	}
}

// wait returns when there is room for a packet, or false when it is over.
func (d *direction) wait(used int64) bool {
	for used+maxPacket-d.freed.Load() > int64(len(d.buf)) {
		select {
		case <-d.room:
		case <-d.done:
			return false
		}
	}
	return true
}

func (d *direction) write() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case p := <-d.queue:
			if t := time.Until(p.due); t > 0 {
				timer.Reset(t)
				select {
				case <-timer.C:
				case <-d.done:
					return
				}
			}
			d.to.Write(p.data) // what a device does not take is lost, as on any network
			d.freed.Store(p.end)
			select {
			case d.room <- struct{}{}:
			default:
			}
		case <-d.done:
			return
		}
	}
}
