exports.generate = (code) => console.log(JSON.stringify({ qr: code }));
