"""WAHA: WhatsApp over HTTP, with the engines NOWEB, WEBJS and GOWS."""
