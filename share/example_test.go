package share_test

import (
	"fmt"

	"muster/share"
)

func Example() {
	seg, err := share.PutSlice([]float64{1.5, 2.5, 3})
	if err != nil {
		panic(err)
	}
	defer seg.Close()
	text := seg.Ref().String() // travels to another process of this machine

	ref, err := share.ParseRef(text)
	if err != nil {
		panic(err)
	}
	view, err := share.Open(ref)
	if err != nil {
		panic(err)
	}
	defer view.Close()
	table, err := share.Slice[float64](view)
	sum := 0.0
	for _, x := range table {
		sum += x
	}
	fmt.Println(len(table), sum, err)
	// Output: 3 7 <nil>
}
