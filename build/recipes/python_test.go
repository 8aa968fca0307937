package recipes

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// python is Debian's, which has the packages; another one may come first in PATH.
const python = "/usr/bin/python3"

// pythonCourse is the course of one program of python.md. It checks the time of the
// measurement if the page promises it.
func pythonCourse(t *testing.T, name string) *course {
	t.Helper()
	files := blocks(t, "python.md")
	broker, db := startBroker(t), startPostgres(t, files["schema.sql"])
	host, database, _ := strings.Cut(db.address(), "/")
	_, databasePort, _ := net.SplitHostPort(host)
	_, port, _ := net.SplitHostPort(broker.Addr)
	text := with(t, files[name], "1883", port, "5432", databasePort, "history\"", database+"\"")
	script := write(t, t.TempDir(), name, text)
	c := &course{t: t, broker: broker, stop: db.Stop, start: db.Run, hostile: true,
		consumer: newProgram(t, func() *exec.Cmd { return exec.Command(python, script) })}
	c.count = func(client string) counted {
		return db.count(`SELECT count(*), count(DISTINCT (boot, seq)),
			coalesce(sum(CASE WHEN time = to_timestamp($2 / 1000.0) + seq * interval '10 ms' THEN 0 ELSE 1 END), 0)
			FROM reading WHERE client_id = $1`, client, c.begin.UnixMilli())
	}
	return c
}

func TestRecipePython(t *testing.T) {
	if !proving {
		t.Skip("needs paho, SQLAlchemy and Django, which build/recipes/run installs")
	}
	t.Parallel()
	for _, name := range []string{"sqlalchemy_record.py", "django_record.py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pythonCourse(t, name).losesNothing()
		})
	}
	t.Run("tutorial.py", func(t *testing.T) {
		t.Parallel()
		c := pythonCourse(t, "tutorial.py")
		lost, twice, misdated := c.run()
		t.Logf("%d published: %d lost, %d twice, %d with another time", c.seq, lost, twice, misdated)
		if lost == 0 || misdated == 0 {
			t.Error("the page says what this program loses, and it lost nothing: mend the page")
		}
	})
}
