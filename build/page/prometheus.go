package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const boards = "../../docs/grafana" // from the folder of this program

// prometheus checks metrics and rules with promtool, and runs every query of the dashboards
// on a real Prometheus that scrapes the agent.
func (p *prover) prometheus(ctx context.Context) (measured string, err error) {
	_, text, err := fetch(ctx, p.house.url+"metrics")
	if err != nil {
		return "", err
	}
	check := exec.CommandContext(ctx, "promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		return "", fmt.Errorf("promtool check metrics: %v: %s", err, out)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		tool := exec.CommandContext(ctx, "promtool", args...)
		tool.Dir = boards
		if out, err := tool.CombinedOutput(); err != nil {
			return "", fmt.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	server, stop, err := p.startPrometheus(ctx)
	if err != nil {
		return "", err
	}
	defer stop()
	total := 0
	for _, board := range []string{"node.json", "fleet.json"} {
		n, err := answered(ctx, server, filepath.Join(boards, board))
		if err != nil {
			return "", fmt.Errorf("%s: %w", board, err)
		}
		total += n
	}
	return fmt.Sprintf("%d queries answered", total), nil
}

// startPrometheus starts a Prometheus that scrapes the house every second, and waits until
// it has scraped for a while.
func (p *prover) startPrometheus(ctx context.Context) (server string, stop func(), err error) {
	listen, err := freePort()
	if err != nil {
		return "", nil, err
	}
	rules, err := filepath.Abs(filepath.Join(boards, "alerts.yaml"))
	if err != nil {
		return "", nil, err
	}
	config := filepath.Join(p.dir, "prometheus.yaml")
	target := strings.TrimSuffix(strings.TrimPrefix(p.house.url, "http://"), "/")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%s]\n"+
		"scrape_configs:\n  - {job_name: holdfast, static_configs: [{targets: [%q]}]}\n", rules, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, "prometheus", "--config.file="+config, "--web.listen-address="+listen,
		"--storage.tsdb.path="+filepath.Join(p.dir, "tsdb"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }
	server = "http://" + listen
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		n, err := query(ctx, server, `count_over_time(up{job="holdfast"}[1m]) > 15 and up == 1`)
		if err == nil && n > 0 {
			return server, stop, nil
		}
		if time.Now().After(end) {
			stop()
			return "", nil, fmt.Errorf("the agent was not scraped: %v", err)
		}
	}
}

// answered runs every query of a dashboard and counts them. Each must have a result, except
// for one that shows only problems.
func answered(ctx context.Context, server, board string) (n int, err error) {
	text, err := os.ReadFile(board)
	if err != nil {
		return 0, err
	}
	var b struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return 0, err
	}
	for _, panel := range b.Panels {
		if len(panel.Targets) == 0 {
			return 0, fmt.Errorf("panel %q has no query", panel.Title)
		}
		for _, t := range panel.Targets {
			expr := strings.ReplaceAll(t.Expr, "$node", "house")
			found, err := query(ctx, server, expr)
			if err != nil || found == 0 && !strings.HasSuffix(expr, "> 0") {
				return 0, fmt.Errorf("panel %q: %d series, %v: %s", panel.Title, found, err, expr)
			}
			n++
		}
	}
	return n, nil
}

// query returns the number of series in the result of a query.
func query(ctx context.Context, server, expr string) (series int, err error) {
	_, text, err := fetch(ctx, server+"/api/v1/query?query="+url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Status != "success" {
		return 0, fmt.Errorf("%s %s %w", answer.Status, answer.Error, err)
	}
	return len(answer.Data.Result), nil
}
