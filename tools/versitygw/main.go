// Command versitygw is the S3 server of the tests: versitygw on a folder, with one user.
//
// It takes the address to listen on, the folder of the buckets and one for what is known of objects, and reads the
// user's keys from the environment as S3 clients do. The usual build takes other kinds of storage, most of the time
// for clients of clouds.
package main

import (
	"context"
	"log"
	"os"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("versitygw ADDRESS BUCKETS ATTRIBUTES")
	}
	attributes, err := meta.NewSideCar(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	buckets, err := posix.New(os.Args[2], attributes, posix.PosixOpts{
		SideCarDir: os.Args[3],
		// As S3 has it; without it nothing can be copied.
		CopyObjectThreshold: 5 << 30,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := embedgw.RunVersityGW(context.Background(), buckets, &embedgw.Config{
		RootUserAccess: os.Getenv("AWS_ACCESS_KEY_ID"),
		RootUserSecret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		Region:         "eu-central-1",
		Ports:          []string{os.Args[1]},
		HealthPath:     "/health",
		KeepAlive:      true,
		Quiet:          true,
		MaxConnections: 1024,
		MaxRequests:    1024,
		// As S3 has it.
		MultipartMaxParts: 10000,
	}); err != nil {
		log.Fatal(err)
	}
}
