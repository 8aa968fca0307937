package recipes

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nodeRedFlow is the flow of nodered.md in the form for importing.
func nodeRedFlow(t *testing.T) (text, start, message string) {
	t.Helper()
	flow, err := os.ReadFile("../../docs/recipes/nodered-flow.json")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []struct{ Type, Func, Initialize string }
	if err := json.Unmarshal(flow, &nodes); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Type == "function" {
			start, message = n.Initialize, n.Func
		}
	}
	return string(flow), start, message
}

func TestTheFlowOfNodeREDIsThatOfThePage(t *testing.T) {
	_, start, message := nodeRedFlow(t)
	files := blocks(t, "nodered.md")
	if start != files["start.js"] || message != files["message.js"] {
		t.Error("nodered-flow.json has other code than nodered.md")
	}
}

// TestRecipeNodeRED: Node-RED acknowledges what it has received, before it is stored. So a
// SIGKILL while the database is away loses what it had in memory.
func TestRecipeNodeRED(t *testing.T) {
	if !proving {
		t.Skip("needs Node-RED, which build/recipes/run fetches")
	}
	t.Parallel()
	modules, err := filepath.Abs(cache + "nodered/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	broker, db := startBroker(t), startPostgres(t, blocks(t, "python.md")["schema.sql"])
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	host, database, _ := strings.Cut(db.address(), "/")
	_, databasePort, _ := net.SplitHostPort(host)
	_, port, _ := net.SplitHostPort(broker.Addr)
	_, ui, _ := net.SplitHostPort(freeAddr(t))
	text, _, _ := nodeRedFlow(t)
	write(t, dir, "flows.json", with(t, text, `"1883"`, `"`+port+`"`, "port: 5432", "port: "+databasePort,
		`database: \"history\"`, fmt.Sprintf(`database: \"%s\"`, database)))
	write(t, dir, "package.json", `{"name": "recipe", "version": "0.0.1", "dependencies": {"pg": "*"}}`)
	write(t, dir, "settings.js", fmt.Sprintf("module.exports = {flowFile: 'flows.json', uiHost: '127.0.0.1', "+
		"uiPort: %s, functionExternalModules: true, telemetry: {enabled: false, updateNotification: false}};\n", ui))
	c := course{t: t, broker: broker, stop: db.Stop, start: db.Run, consumer: newProgram(t, func() *exec.Cmd {
		return exec.Command("node", modules+"/node-red/red.js", "-u", dir)
	})}
	c.count = func(client string) counted {
		return db.count(`SELECT count(*), count(DISTINCT (boot, seq)),
			coalesce(sum(CASE WHEN time = to_timestamp($2 / 1000.0) + seq * interval '10 ms' THEN 0 ELSE 1 END), 0)
			FROM reading WHERE client_id = $1`, client, c.begin.UnixMilli())
	}
	lost, twice, misdated := c.run()
	t.Logf("%d published: %d lost, %d twice, %d with another time", c.seq, lost, twice, misdated)
	if lost > steps || twice != 0 || misdated != 0 {
		t.Error("the page says that a SIGKILL loses what is in memory, and nothing else is lost")
	}
}
