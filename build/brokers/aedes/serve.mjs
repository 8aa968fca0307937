// aedes as a broker with TLS and a password: serve.mjs MODULES PORT CERT KEY USER PASSWORD
import fs from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import tls from 'node:tls'

const [modules, port, cert, key, user, password] = process.argv.slice(2)
const found = createRequire(modules + '/').resolve('aedes')
const { Aedes } = await import(pathToFileURL(found))

const broker = await Aedes.createBroker()
broker.authenticate = (client, name, word, done) => {
  if (name === user && String(word) === password) return done(null, true)
  done(Object.assign(new Error('wrong user name or password'), { returnCode: 4 }), false)
}
// Only build/brokers/answers.go publishes there.
broker.authorizePublish = (client, packet, done) =>
  done(packet.topic.startsWith('denied/') ? new Error('denied') : null)
const server = tls.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, broker.handle)
server.listen(Number(port), '127.0.0.1')
process.on('SIGTERM', () => broker.close(() => process.exit(0)))
