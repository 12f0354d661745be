// Run once by the image `mongo`, when its volume is empty: makes the server's own user. Its rights are those that the
// server uses: read and write its database, and change its collections' options.
db.getSiblingDB("roomcast").createUser({
  user: "roomcast",
  pwd: process.env.MONGODB_PASSWORD,
  roles: ["readWrite", "dbAdmin"],
});
