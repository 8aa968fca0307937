package uplink

// A fifo is a queue in a slice, which is used again from its start: pushing and
// popping allocate nothing while the length stays the same. The zero value is empty.
// It has no lock.
type fifo[T any] struct {
	buf  []T
	head int // index of the front; what is before it is zero
}

// len, at, front and push do what their names say. at counts from the front; it and
// front panic if there is no such element. Their pointers are valid until the next
// push or pop. push copies what v points to: elements have several hundred bytes.
func (f *fifo[T]) len() int    { return len(f.buf) - f.head }
func (f *fifo[T]) at(i int) *T { return &f.buf[f.head+i] }
func (f *fifo[T]) front() *T   { return f.at(0) }
func (f *fifo[T]) push(v *T)   { f.buf = append(f.buf, *v) }

// pop removes the front. It moves the rest to the start of the slice when half of a
// slice of 64 or more is unused, so that each element is moved once on average.
func (f *fifo[T]) pop() {
	var none T
	f.buf[f.head] = none // so that the garbage collector can free what it points to
	f.head++
	if f.head == len(f.buf) || f.head >= 64 && f.head >= len(f.buf)/2 {
		rest := copy(f.buf, f.buf[f.head:])
		clear(f.buf[rest:])
		f.buf, f.head = f.buf[:rest], 0
	}
}
