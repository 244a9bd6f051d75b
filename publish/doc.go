// Package publish writes lives to where anybody finds them, serves them, and fetches them:
// the layout of docs/spec/publishing.md, of which package published has the formats.
//
//   - [Publish] writes a life into a folder that any web server can serve.
//   - [Tree] serves such folders over HTTP, and nothing else that lies there.
//   - [Fetch] gets a life from such a server, or folder, as one CAR.
//
// What is fetched is only what a server says until it is verified. Fetch sees to it that every
// block has its CID and that the blocks are one chain that ends in the head; signatures, and
// with them the verdict, are package history's part.
package publish
