package main

import "context"

func runConsumers(ctx context.Context, p place, rep *report) {}
