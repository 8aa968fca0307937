package recipes

import (
	"database/sql"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTheStatementOfEMQX runs the statement that EMQX would prepare, twice for each
// reading, without EMQX.
func TestTheStatementOfEMQX(t *testing.T) {
	t.Parallel()
	order := []string{"client_id", "stream", "boot", "seq", "ts", "value", "state", "error"}
	statement := regexp.MustCompile(`\$\{(\w+)\}`).ReplaceAllStringFunc(blocks(t, "emqx.md")["insert.sql"],
		func(name string) string {
			for i, known := range order {
				if name == "${"+known+"}" {
					return "$" + strconv.Itoa(i+1)
				}
			}
			t.Errorf("the rule has no %s", name)
			return name
		})
	db := startPostgres(t, blocks(t, "python.md")["schema.sql"])
	conn, err := sql.Open("pgx", db.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, row := range [][]any{
		{"porch", "hum", "1-a", 1, 1763640000123, 45.2, nil, nil},
		{"porch", "hum", "1-a", 2, 1763640001123, nil, nil, "i2c-1 0x38: no acknowledge"},
		{"porch", "hum", "1-a", 1, 1763640000123, 45.2, nil, nil},
		{"porch", "door", "1-a", 1, 1763640000123, 1, "open", nil},
	} {
		if _, err := conn.Exec(statement, row...); err != nil {
			t.Fatal(err)
		}
	}
	found := db.count(`SELECT count(*), count(DISTINCT (stream, boot, seq)),
		count(*) - count(*) FILTER (WHERE (extract(epoch FROM time) * 1000)::bigint IN (1763640000123, 1763640001123))
		FROM reading`)
	if found != (counted{3, 3, 0}) {
		t.Errorf("got %+v", found)
	}
}

// TestEMQXRuleHasTheFieldsOfTheStatement compares their names.
func TestEMQXRuleHasTheFieldsOfTheStatement(t *testing.T) {
	files := blocks(t, "emqx.md")
	for _, found := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(files["insert.sql"], -1) {
		if !strings.Contains(files["rule.sql"], " AS "+found[1]) {
			t.Errorf("the rule does not select %s", found[1])
		}
	}
}
