package main

import (
	"fmt"
	"os"
	"os/exec"
)

// activemq runs Debian's program with its own folders. Java does not read PEM, so openssl
// converts the certificate. The MQTT decoder is a separate package, which the connector
// does not find itself.
var activemq = kind{
	name: "ActiveMQ", source: "Debian `activemq`, connector `mqtt+ssl`", durable: true,
	notes: "It never says that a session is present, and loses retained messages when it restarts.",
	version: func(place) (string, error) {
		if _, err := debianVersion("libmqtt-client-java"); err != nil {
			return "", err
		}
		return debianVersion("activemq")
	},
	prepare: func(s *server) error {
		ca := s.place.ca
		wrap := exec.Command("openssl", "pkcs12", "-export", "-inkey", ca.keyFile, "-in", ca.certFile,
			"-passout", "pass:"+password, "-out", s.path("broker.p12"))
		if out, err := wrap.CombinedOutput(); err != nil {
			return fmt.Errorf("openssl: %w: %s", err, out)
		}
		if err := os.MkdirAll(s.path("lib"), 0o755); err != nil {
			return err
		}
		const codec = "/usr/share/java/mqtt-client.jar"
		if err := os.Symlink(codec, s.path("lib/mqtt-client.jar")); err != nil && !os.IsExist(err) {
			return err
		}
		if err := s.write("log4j.properties", activemqLog); err != nil {
			return err
		}
		rights := ""
		if s.limits.denied {
			rights = activemqRights
		}
		return s.write("activemq.xml", `<beans xmlns="http://www.springframework.org/schema/beans"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans
    http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="holdfast" useJmx="false" dataDirectory="%s">
    <persistenceAdapter><kahaDB directory="%[1]s/kahadb"/></persistenceAdapter>
    <plugins><simpleAuthenticationPlugin><users>
      <authenticationUser username="%s" password="%s" groups="all"/>
    </users></simpleAuthenticationPlugin>%[7]s</plugins>
    <sslContext><sslContext keyStore="file:%[4]s" keyStoreType="PKCS12" keyStorePassword="%[3]s"/></sslContext>
    <transportConnectors><transportConnector name="mqtt" uri="mqtt+ssl://127.0.0.1:%[5]d%[6]s"/></transportConnectors>
  </broker>
</beans>
`, s.data(), s.kind.userName(), password, s.path("broker.p12"), s.port,
			limit("?wireFormat.maxFrameSize=%d", s.limits.size), rights)
	},
	command: func(s *server) (*exec.Cmd, error) {
		const home = "/usr/share/activemq"
		return exec.Command("java", "-Xmx256m", "-Djava.io.tmpdir="+s.dir,
			"-Dlog4j.configuration=file:"+s.path("log4j.properties"),
			"-Dactivemq.home="+home, "-Dactivemq.base="+s.dir, "-Dactivemq.conf="+s.dir, "-Dactivemq.data="+s.data(),
			"-jar", home+"/bin/activemq.jar", "start", "xbean:file:"+s.path("activemq.xml")), nil
	},
}

const activemqLog = `log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%%d %%p %%c: %%m%%n
`

// activemqRights deny denied/#, with dots of a destination instead of slashes. What one
// entry allows another cannot deny, so no entry is for all topics.
const activemqRights = `<authorizationPlugin><map><authorizationMap><authorizationEntries>
      <authorizationEntry queue=">" read="all" write="all" admin="all"/>
      <authorizationEntry topic="answers.>" read="all" write="all" admin="all"/>
      <authorizationEntry topic="probe" read="all" write="all" admin="all"/>
      <authorizationEntry topic="ActiveMQ.Advisory.>" read="all" write="all" admin="all"/>
      <authorizationEntry topic="denied.>" read="all" write="nobody" admin="all"/>
    </authorizationEntries></authorizationMap></map></authorizationPlugin>`
