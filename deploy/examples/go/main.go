// Runs a command in a container: go run . IMAGE [COMMAND...]
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "example/argosyv1"
)

func run(ctx context.Context, containers pb.ContainersClient, image string, command []string) (code int, err error) {
	made, err := containers.Create(ctx, &pb.CreateContainerRequest{
		Spec: &pb.ContainerSpec{Image: image, Command: command},
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		// Also after Ctrl-C, which ended the other context.
		_, removal := containers.Remove(context.Background(), &pb.RemoveContainerRequest{Container: made.Id, Force: true})
		if err == nil {
			err = removal
		}
	}()
	return attach(ctx, containers, made.Id)
}

// Joined before it starts, so that not a byte is missed.
func attach(ctx context.Context, containers pb.ContainersClient, id string) (int, error) {
	stream, err := containers.Attach(ctx)
	if err != nil {
		return 0, err
	}
	start := &pb.AttachRequest_Start{Start: &pb.AttachStart{Container: id, Start: true}}
	if err := stream.Send(&pb.AttachRequest{Part: start}); err != nil {
		return 0, err
	}
	code := 0
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return code, nil
		}
		if err != nil {
			return 0, err
		}
		switch part := message.Part.(type) {
		case *pb.AttachResponse_Stdout:
			os.Stdout.Write(part.Stdout)
		case *pb.AttachResponse_Stderr:
			os.Stderr.Write(part.Stderr)
		case *pb.AttachResponse_Exit:
			code = int(part.Exit.Code)
		}
	}
}

// reason is the word for programs: nobody has to look into a message's text.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return status.Code(err).String()
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: run IMAGE [COMMAND...]")
		os.Exit(125)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	host := os.Getenv("ARGOSY_HOST")
	if host == "" {
		host = "unix:///run/argosy/argosy.sock"
	}
	// From grpc 1.34 on: grpc.WithTransportCredentials(insecure.NewCredentials()).
	connection, err := grpc.Dial(host, grpc.WithInsecure())
	if err == nil {
		defer connection.Close()
		var code int
		code, err = run(ctx, pb.NewContainersClient(connection), os.Args[1], os.Args[2:])
		if err == nil {
			os.Exit(code)
		}
		if ctx.Err() != nil {
			os.Exit(130)
		}
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", reason(err), status.Convert(err).Message())
	os.Exit(125)
}
