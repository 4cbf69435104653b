package dispatcher

import "time"

// How many frames of a session are handled: at once, in a second, and beyond these for
// each task that it ends. An honest worker says two or three things of a task, and of
// output as much as there is, in larger pieces the longer each has to wait.
const (
	framesAtOnce  = 40_000
	framesASecond = 20_000
	framesATask   = 8
	framesAWhile  = 200 // that are handled between two looks at the clock
)

// pace bounds how many frames of a session are handled. What is too much stays in the
// connection, whose peer has to wait, and costs the others nothing. It belongs to
// whoever serves the session's link.
type pace struct {
	looks int // frames since the last look at the clock
	left  int // frames that may be handled now
	at    time.Time
}

// frame counts a frame that has come, and waits when it is one of too many.
func (p *pace) frame() {
	if p.looks++; p.looks < framesAWhile {
		return
	}
	now := time.Now()
	if p.at.IsZero() {
		p.left, p.at = framesAtOnce, now
	}
	since := min(now.Sub(p.at), framesAtOnce*time.Second/framesASecond)
	p.left = min(p.left+int(since*framesASecond/time.Second), framesAtOnce) - p.looks
	p.looks, p.at = 0, now
	if p.left < 0 {
		time.Sleep(-time.Duration(p.left) * time.Second / framesASecond)
	}
}

// ended allows for what there was to say of a task that has ended.
func (p *pace) ended() { p.left += framesATask }
