// Package quiet reads and writes sockets and pipes without telling Go's scheduler of
// each system call. One that is not ready gives EAGAIN at once, so there is
// nothing to tell; but a runtime that is told wakes a thread that then looks
// every 20 µs whether the call has ended. In processes that mostly sleep, as
// workers, their slots and a dispatcher do, that thread was a quarter of all
// they did (bench/README.md).
package quiet
