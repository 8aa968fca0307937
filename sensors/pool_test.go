package sensors

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// onGoroutine returns the name of the current goroutine: "goroutine 12".
func onGoroutine() string {
	stack := make([]byte, 64)
	stack = stack[:runtime.Stack(stack, false)]
	return string(stack[:bytes.IndexByte(stack, '[')])
}

// The next call runs on the goroutine of the one that has just returned, even if it follows at once.
func TestCallsThatReturnShareAGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		used := map[string]int{}
		for range 100 {
			c := start(t.Context(), &p, func(context.Context) answer {
				used[onGoroutine()]++
				time.Sleep(time.Millisecond)
				return answer{}
			}, func(answer) {})
			<-c.done
		}
		if len(used) != 1 {
			t.Errorf("100 calls, one after another, were on %v", used)
		}
		p.end()
	})
}

// A hung call keeps its goroutine; other calls run on free ones.
func TestHungCallKeepsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		release := make(chan struct{})
		var hung string
		stuck := start(t.Context(), &p, func(context.Context) answer {
			hung = onGoroutine()
			<-release
			return answer{}
		}, func(answer) {})
		synctest.Wait()
		for range 10 {
			c := start(t.Context(), &p, func(context.Context) answer {
				if onGoroutine() == hung {
					t.Error("a call is on the goroutine of one that hangs")
				}
				return answer{}
			}, func(answer) {})
			<-c.done
		}
		p.end() // does not wait for what hangs
		close(release)
		<-stuck.done
	})
}

// After a burst of calls at once, a few goroutines stay; after the end none does, and calls
// are made anyway.
func TestPoolKeepsFewGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		burst := func() {
			release := make(chan struct{})
			var returned sync.WaitGroup
			for range 50 {
				returned.Add(1)
				p.run(func() func() { <-release; return returned.Done })
			}
			close(release)
			returned.Wait()
			synctest.Wait()
		}
		burst()
		if n := len(p.idle); n != maxIdle {
			t.Errorf("%d are kept, want %d", n, maxIdle)
		}
		p.end()
		burst()
		if n := len(p.idle); n != 0 {
			t.Errorf("%d are kept after the end", n)
		}
		p.end()
	})
}

// A driver that calls runtime.Goexit, as a test helper may, has returned.
func TestCallEndsIfItsGoroutineExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		for range 3 {
			c := start(t.Context(), &p, func(context.Context) answer { runtime.Goexit(); return answer{} }, func(answer) {})
			<-c.done
		}
		if len(p.idle) != 0 {
			t.Error("a goroutine that has ended is kept")
		}
		p.end()
	})
}
