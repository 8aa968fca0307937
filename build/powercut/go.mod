module github.com/holdfast-iot/holdfast/build/powercut

go 1.26.8

require github.com/holdfast-iot/holdfast v0.0.0

require (
	go.etcd.io/bbolt v1.5.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/holdfast-iot/holdfast => ../..
