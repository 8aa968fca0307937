package sensors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitingDoesNotCountAsCallTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := withLimit(t.Context(), 10*time.Second)
		defer cancel()
		time.Sleep(4 * time.Second)
		served := Waiting(ctx)
		time.Sleep(time.Minute)
		served()
		served() // only the first call counts
		time.Sleep(5 * time.Second)
		if ctx.Err() != nil {
			t.Error("ended after 9 s: ", ctx.Err())
		}
		<-ctx.Done()
		if took := time.Since(began); took != 70*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Error(took, ctx.Err())
		}
		derived, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if !errors.Is(derived.Err(), context.DeadlineExceeded) {
			t.Error(derived.Err())
		}
	})
}

func TestLimitedCallEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancel(context.WithValue(t.Context(), noticeKey{}, 7))
		ctx, cancel := withLimit(parent, 10*time.Second)
		defer cancel()
		if ctx.Value(noticeKey{}) != 7 {
			t.Error("a value of the caller's is lost")
		}
		defer Waiting(ctx)() // resumed after the end
		end()
		<-ctx.Done()
		if ctx.Err() != context.Canceled {
			t.Error(ctx.Err())
		}
		Waiting(context.Background())() // without a limit
	})
}
