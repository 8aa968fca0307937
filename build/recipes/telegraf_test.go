package recipes

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-iot/holdfast/cmd/recorder/store/postgrestest"
)

// startTelegraf starts Telegraf with the input of the page and one output.
func startTelegraf(t *testing.T, broker, output string) *program {
	t.Helper()
	if _, err := os.Stat(cache + "telegraf"); err != nil {
		t.Fatal("Telegraf is not there: run build/recipes/fetch")
	}
	input := with(t, blocks(t, "telegraf.md")["input.conf"], "127.0.0.1:1883", broker)
	conf := write(t, t.TempDir(), "telegraf.conf", input+output)
	return newProgram(t, func() *exec.Cmd { return exec.Command(cache+"telegraf", "--config", conf) })
}

// A postgres is a server and a database with the tables of a recipe.
type postgres struct {
	*postgrestest.Server
	url string
}

// startPostgres starts a server, and creates the tables.
func startPostgres(t *testing.T, schema string) postgres {
	t.Helper()
	server := postgrestest.Start(t)
	p := postgres{server, server.Database(t)}
	db, err := sql.Open("pgx", p.url)
	if err == nil {
		defer db.Close()
		_, err = db.Exec(schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count queries the number of rows, of different readings, and of readings with a wrong
// time.
func (p postgres) count(query string, args ...any) (c counted) {
	db, err := sql.Open("pgx", p.url)
	if err != nil {
		return c
	}
	defer db.Close()
	if db.QueryRow(query, args...).Scan(&c.rows, &c.distinct, &c.misdated) != nil {
		return counted{}
	}
	return c
}

// address is HOST:PORT/NAME of the database.
func (p postgres) address() string {
	u, err := url.Parse(p.url)
	if err != nil {
		return ""
	}
	return u.Host + u.Path
}

func TestRecipeTelegrafToPostgreSQL(t *testing.T) {
	if !proving {
		t.Skip("needs Telegraf, which build/recipes/run builds")
	}
	t.Parallel()
	files := blocks(t, "telegraf.md")
	broker, db := startBroker(t), startPostgres(t, files["schema.sql"])
	c := course{t: t, broker: broker, stop: db.Stop, start: db.Run, consumer: startTelegraf(t, broker.Addr,
		with(t, files["postgresql.conf"], "127.0.0.1:5432/history", db.address()))}
	c.count = func(client string) counted {
		return db.count(`SELECT count(*), count(DISTINCT (boot, seq)),
			coalesce(sum(CASE WHEN time = to_timestamp($2 / 1000.0) + seq * interval '10 ms' THEN 0 ELSE 1 END), 0)
			FROM reading WHERE client_id = $1`, client, c.begin.UnixMilli())
	}
	c.losesNothing()
}

// TestRecipeTelegrafWithoutTheTrigger counts what the usual table loses, with a unique
// index and without the trigger.
func TestRecipeTelegrafWithoutTheTrigger(t *testing.T) {
	if !proving {
		t.Skip("needs Telegraf, which build/recipes/run builds")
	}
	t.Parallel()
	files := blocks(t, "telegraf.md")
	schema, _, _ := strings.Cut(files["schema.sql"], "CREATE FUNCTION")
	broker, db := startBroker(t), startPostgres(t, schema)
	c := course{t: t, broker: broker, stop: db.Stop, start: db.Run, consumer: startTelegraf(t, broker.Addr,
		with(t, files["postgresql.conf"], "127.0.0.1:5432/history", db.address()))}
	c.count = func(client string) counted {
		return db.count(`SELECT count(*), count(DISTINCT (boot, seq)), 0 FROM reading WHERE client_id = $1`, client)
	}
	lost, twice, _ := c.run()
	t.Logf("%d published: %d lost, %d twice", c.seq, lost, twice)
	if lost == 0 {
		t.Error("the page says that batches with a second copy are lost, and none was: mend the page")
	}
}

// answer gets a page of a server as text; "" on an error.
func answer(address, path string, query url.Values) string {
	response, err := http.Get("http://" + address + path + "?" + query.Encode())
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		return ""
	}
	return string(text)
}

// freeAddr is an address on loopback with a free port.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestRecipeTelegrafToInfluxDB(t *testing.T) {
	if !proving {
		t.Skip("needs Telegraf, which build/recipes/run builds")
	}
	t.Parallel()
	dir, address := t.TempDir(), freeAddr(t)
	conf := write(t, dir, "influxdb.conf", fmt.Sprintf("reporting-disabled = true\nbind-address = %q\n"+
		"[meta]\ndir = %q\n[data]\ndir = %q\nwal-dir = %q\n[http]\nbind-address = %q\n",
		freeAddr(t), dir+"/meta", dir+"/data", dir+"/wal", address))
	db := newProgram(t, func() *exec.Cmd { return exec.Command("influxd", "-config", conf) })
	eventually(t, "InfluxDB listens", func() bool {
		return answer(address, "/query", url.Values{"q": {"SHOW DATABASES"}}) != ""
	})
	broker := startBroker(t)
	c := course{t: t, broker: broker, stop: db.kill, start: db.start, consumer: startTelegraf(t, broker.Addr,
		with(t, blocks(t, "telegraf.md")["influxdb.conf"], "127.0.0.1:8086", address))}
	c.count = func(client string) (found counted) {
		var result struct {
			Results []struct {
				Series []struct{ Values [][2]int64 }
			}
		}
		text := answer(address, "/query", url.Values{"db": {"history"}, "epoch": {"ms"},
			"q": {fmt.Sprintf("SELECT seq FROM reading WHERE client_id = '%s'", client)}})
		if json.Unmarshal([]byte(text), &result) != nil || len(result.Results) == 0 {
			return found
		}
		seen := map[int64]bool{}
		for _, series := range result.Results[0].Series {
			for _, v := range series.Values {
				found.rows++
				seen[v[1]] = true
				if v[0] != c.begin.UnixMilli()+10*v[1] {
					found.misdated++
				}
			}
		}
		found.distinct = len(seen)
		return found
	}
	c.losesNothing()
}

// TestRecipeTelegrafToVictoriaMetrics: VictoriaMetrics acknowledges what it has in memory.
// So nothing is lost by SIGTERM, and something is lost by SIGKILL.
func TestRecipeTelegrafToVictoriaMetrics(t *testing.T) {
	if !proving {
		t.Skip("needs Telegraf, which build/recipes/run builds")
	}
	t.Parallel()
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		c, db := victoriaMetrics(t)
		c.stop = db.stop
		c.losesNothing()
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		c, db := victoriaMetrics(t)
		c.stop = db.kill
		lost, twice, _ := c.run()
		t.Logf("%d published: %d lost, %d twice", c.seq, lost, twice)
		if twice != 0 {
			t.Error("the page says that a second copy is not counted")
		}
	})
}

func victoriaMetrics(t *testing.T) (*course, *program) {
	t.Helper()
	dir, address := t.TempDir(), freeAddr(t)
	db := newProgram(t, func() *exec.Cmd {
		return exec.Command("victoria-metrics", "-storageDataPath", dir, "-httpListenAddr", address,
			"-retentionPeriod=10y", "-dedup.minScrapeInterval=1ms")
	})
	eventually(t, "VictoriaMetrics listens", func() bool { return answer(address, "/health", nil) != "" })
	broker := startBroker(t)
	c := &course{t: t, broker: broker, start: db.start, consumer: startTelegraf(t, broker.Addr,
		with(t, blocks(t, "telegraf.md")["victoriametrics.conf"], "127.0.0.1:8428", address))}
	c.count = func(client string) (found counted) {
		text := answer(address, "/api/v1/export", url.Values{
			"match[]": {fmt.Sprintf("reading_seq{client_id=%q}", client)}})
		seen := map[float64]bool{}
		for line := range strings.Lines(text) {
			var series struct {
				Values     []float64
				Timestamps []int64
			}
			if json.Unmarshal([]byte(line), &series) != nil {
				return counted{}
			}
			for i, seq := range series.Values {
				found.rows++
				seen[seq] = true
				if series.Timestamps[i] != c.begin.UnixMilli()+10*int64(seq) {
					found.misdated++
				}
			}
		}
		found.distinct = len(seen)
		return found
	}
	return c, db
}
