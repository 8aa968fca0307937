package uplink

// A fifo is a slice that is popped at the front without growing for ever.
type fifo[T any] struct {
	buf  []T
	head int
}

func (f *fifo[T]) len() int    { return len(f.buf) - f.head }
func (f *fifo[T]) at(i int) *T { return &f.buf[f.head+i] }
func (f *fifo[T]) front() *T   { return f.at(0) }
func (f *fifo[T]) push(v T)    { f.buf = append(f.buf, v) }

func (f *fifo[T]) pop() {
	var none T
	f.buf[f.head] = none // let go of what it holds
	f.head++
	if f.head == len(f.buf) || f.head >= 64 && f.head >= len(f.buf)/2 {
		rest := copy(f.buf, f.buf[f.head:])
		clear(f.buf[rest:])
		f.buf, f.head = f.buf[:rest], 0
	}
}
