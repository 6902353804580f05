// Package private tells whether files and folders of this machine are out of other users' reach, and writes files
// without following what others may have put in their place.
//
// Nobody is trusted with what only we may change but ourselves and root; under sudo, also the user who called it. The
// whole path counts: whoever may rename a folder on the way can put one of their own there.
package private
