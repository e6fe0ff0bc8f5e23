package election

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Recall reads who was primary when the file was written. A file that is not
// there is no memory; one that can't be read is an error, because to start
// without memory is another decision.
func Recall(file string) (Throne, error) {
	var t Throne
	if file == "" {
		return t, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return Throne{}, fmt.Errorf("balancer: Roles.Memory: %w: want the file that the pool wrote, or none", err)
	}
	return t, nil
}

// Remember writes t to the file so that a crash leaves the old one or the new
// one.
func (t Throne) Remember(file string) (err error) {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // what failed is told
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
