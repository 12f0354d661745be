// The image `mongo` runs this once, when its volume is empty. It creates the server's user, with only the rights that the
// server needs: to read and write its database, and to change its collections' options.
db.getSiblingDB("roomcast").createUser({
  user: "roomcast",
  pwd: process.env.MONGODB_PASSWORD,
  roles: ["readWrite", "dbAdmin"],
});
