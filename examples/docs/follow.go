// In the module "feed": pb from the repository's price_feed.proto, with M=Mprice_feed.proto=feed/pb,module=feed:
// protoc --go_out=. --go_opt=$M --go-grpc_out=. --go-grpc_opt=$M price_feed.proto
package main

import (
	"context"
	"log"
	"time"

	"feed/pb"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure" // with TLS: credentials.NewTLS(nil)
)

func main() {
	conn, err := grpc.NewClient("localhost:8080", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	feed := pb.NewPriceFeedClient(conn)
	request := &pb.SubscribeRequest{Currencies: []string{"USD", "EUR"}}
	for { // after a disconnect, go on after the last id
		stream, err := feed.Subscribe(context.Background(), request)
		for err == nil {
			var update *pb.SubscribeResponse
			if update, err = stream.Recv(); err == nil && update.GetTick() != nil {
				log.Println(update.GetTick().GetPrices())
				request.Start = &pb.SubscribeRequest_After{After: update.GetTick().GetId()}
			}
		}
		log.Println(err)
		time.Sleep(time.Second)
	}
}
